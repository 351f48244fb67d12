"""Scripts of maintainers, which no `vitrine` command uses: see docs/training.md."""
