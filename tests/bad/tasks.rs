pub struct Case{pub name:&'static str,pub bytes:Vec<u8>,pub says:Vec<&'static str>} pub fn all(_:&str)->Vec<Case>{vec![]}
