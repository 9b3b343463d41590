//! The daemons pgsvc configures. What they are told is decided by the transaction; how to tell them is known here.
