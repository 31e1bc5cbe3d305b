def get_batch_size(workload_name):
    return 4
