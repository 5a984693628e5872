"""`make bench`: every benchmark in turn, each in a process of its own."""

import subprocess
import sys

COMMANDS = (
    ("capture_speed", "--shape", "bundled"),
    ("capture_speed", "--shape", "base", "--rows", "96", "--repeats", "3"),
    ("capture_memory",),
    ("vocabulary_memory",),
    ("random_batch", "--shape", "base"),
    ("random_batch", "--shape", "bundled"),
    ("open_store",),
    ("store_size", "--shape", "base"),
    ("store_size", "--shape", "bundled"),
    ("train_speed",),
    ("train_speed", "--shape", "base", "--rows", "256", "--repeats", "3"),
    ("offline_speed",),
    ("train_memory",),
)


def main() -> None:
    """Run the benchmarks and print their tables."""
    for name, *options in COMMANDS:
        print(f"\n## python -m benchmarks.{' '.join([name, *options])}\n", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=True)


if __name__ == "__main__":
    main()
