"""Style sheet of HTML reports, which need no other file and no network."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; }
small { opacity: .75; }
ul { list-style: none; padding: 0; display: grid; gap: 1.5rem;
     grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); }
li { display: flex; flex-wrap: wrap; gap: .5rem; }
li p { flex-basis: 100%; margin: 0; }
figure { margin: 0; }
img { max-height: 220px; max-width: 220px; background: #fff; }
"""
