"""report.html: one page that says what was converted, how it was proven, and what came of it."""
