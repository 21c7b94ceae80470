"""Which of several live clusters works on a storage and namespace, and how one follows another."""
