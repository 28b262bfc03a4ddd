"""What differs between the commands that train: data, network, loss, metrics, what is shown."""
