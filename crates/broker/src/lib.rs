//! Who gets what: topics, queues, temporary destinations; pure.
#![forbid(unsafe_code)]
