"""Health by completed work: of lanes from the database, of processes by a file that they touch."""
