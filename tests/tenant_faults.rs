//! A simulated tenant in which something goes wrong, through the real program: what it refuses and breaks off, who is in
//! the way, what becomes of changes then, and that nothing secret is told.
//!
//! Invariant: each test has a tenant of its own, and looks at the tenant for what was really done.

mod support;

#[path = "tenant_faults/adopted.rs"]
mod adopted;
#[path = "tenant_faults/answers.rs"]
mod answers;
#[path = "tenant_faults/cancelled.rs"]
mod cancelled;
#[path = "tenant_faults/changes.rs"]
mod changes;
#[path = "tenant_faults/rivals.rs"]
mod rivals;
#[path = "tenant_faults/sign_in.rs"]
mod sign_in;
#[path = "tenant_faults/tls.rs"]
mod tls;
