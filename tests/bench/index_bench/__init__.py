"""The parts of `./build.sh bench index`: data, what is measured on each host, the peers, and how it is shown."""
