"""Archives of runs: pack the small files of an outputs folder, and merge them into another."""
