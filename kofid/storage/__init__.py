"""What is kept on disk: artifacts, their files and arrays, and what ships with kofid."""
