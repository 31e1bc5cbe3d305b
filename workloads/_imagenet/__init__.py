"""Images in folders or in tensorflow-datasets, for every workload that classifies."""
