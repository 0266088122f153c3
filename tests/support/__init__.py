"""What the tests share: namespaces with traffic between them, servers, and the watch for leaks."""
