"""Say what the rows of a table differ in, where their labels alone do not."""

from augean.analysis.comparison import Table
from augean.config.labels import read_word


def row_heading(table: Table) -> str:
    """Return what tells the rows apart, such as "optimizer, regularization.weight_decay".

    It is empty for rows with names of their own.
    """
    return ", ".join(key.removesuffix(".name") for key in table.row_keys)


def baseline_name(table: Table) -> str:
    """Return the baseline as it is named in a heading: with its key, where it is a bare value.

    So "depth=2" for a row 2 of `model.arguments.depth`; other labels stay as they are.
    """
    label = str(table.baseline)
    keys = table.row_keys
    if len(keys) != 1 or not _is_bare_value(label):
        return label
    return f"{keys[0].rpartition('.')[2]}={label}"


def legend_title(table: Table) -> str:
    """Return what the title of a legend is: the rows' key where their labels are bare values."""
    keys = table.row_keys
    if len(keys) != 1 or not any(_is_bare_value(row.label) for row in table.rows):
        return ""
    return keys[0]


def _is_bare_value(label: str) -> bool:
    """Tell whether a label is a number, true, false or null, which says nothing by itself."""
    return not isinstance(read_word(label), str)
