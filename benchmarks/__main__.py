"""`make bench`: every benchmark that needs nothing but a finished `make repro`."""

from benchmarks.seeds import main

if __name__ == "__main__":
    main()
