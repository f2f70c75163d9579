"""`python -m fieldstream_central.store.embedded --path DIR --port 8123`."""

from fieldstream_central.store.embedded.server import main

if __name__ == "__main__":
    main()
