"""Index versions are filled with what the catalogue has: pictures, or rows that the database keeps."""
