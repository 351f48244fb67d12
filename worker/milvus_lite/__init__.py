"""Milvus Lite as a server of ours, with one writer and filters that do not go through every row in Python."""
