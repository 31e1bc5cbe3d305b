"""Results as people and programs read them: tables, pictures, one page, pandas."""
