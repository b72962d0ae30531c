"""Foreign forms, one file each: how labels and the columns beside them come in and go out."""
