"""What `--mode` may name: one file each, with `run(config, workdir)`, made of the other rooms."""
