"""docs/batch_norm.md says what the code does."""

from pathlib import Path

from docs.scripts import batch_norm_pictures

DOCS = Path(batch_norm_pictures.__file__).parent.parent


def test_the_truth_table_on_the_page_is_what_the_layers_do():
    page = (DOCS / "batch_norm.md").read_text(encoding="utf-8")
    assert batch_norm_pictures.table() in page
