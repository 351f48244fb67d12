"""Milvus Lite, as published, in a server process with one writer."""
