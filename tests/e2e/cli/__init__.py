"""Commands whose subject is a process: signals, terminals, child processes."""
