"""What a collection holds: files, members of archives, rows of tables, and their bytes."""
