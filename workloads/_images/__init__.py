"""Images with a class, for every workload that reads them: files, bytes and pixels."""
