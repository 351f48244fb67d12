"""Jobs and their chunks: create, plan, queue, control, and close them."""
