"""Health judged by the work that is done: per lane from the database, per process by a file it touches."""
