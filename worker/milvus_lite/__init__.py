"""Milvus Lite as published, in a server process that serialises writes."""
