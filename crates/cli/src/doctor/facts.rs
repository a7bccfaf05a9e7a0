//! What was found on the machine, without a judgement.

use serde::Serialize;

/// Everything that the judgement is made from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    /// The kernel's own name for itself.
    pub(crate) kernel: String,
    /// What the library chose.
    pub(crate) backend: Result<Chosen, Refused>,
    /// Why there is no ring here, whatever was chosen; `None` if there is one.
    pub(crate) ring_refused: Option<Cause>,
    /// The limit of locked memory, in bytes; `None` is no limit.
    pub(crate) memlock: Option<u64>,
    /// The soft and the hard limit of open files; `None` is no limit.
    pub(crate) nofile: (Option<u64>, Option<u64>),
    /// CPUs that this process may use.
    pub(crate) cpus: usize,
    /// Cores that they are on: fewer than CPUs if some are siblings.
    pub(crate) cores: usize,
    /// CPUs' worth of time that the control group allows.
    pub(crate) quota: Option<f64>,
    /// What says that this is a container.
    pub(crate) container: Option<String>,
    /// The mode of seccomp: 0 off, 1 strict, 2 filter.
    pub(crate) seccomp: Option<u32>,
    /// The sysctl `kernel.io_uring_disabled`, since 6.6.
    pub(crate) io_uring_disabled: Option<u32>,
    /// What `CORONET_BACKEND` says.
    pub(crate) backend_variable: Option<String>,
    /// What `CORONET_MASK` says, unless that is nothing.
    pub(crate) mask_variable: Option<String>,
}

/// A backend that works.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    pub(crate) why: String,
    /// By name, whether the kernel can.
    pub(crate) capabilities: Vec<(&'static str, bool)>,
}

/// Why there is no backend.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refused {
    pub(crate) cause: Cause,
    pub(crate) message: String,
}

/// The kinds of refusal that have their own advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// `EPERM` or `EACCES`.
    Forbidden,
    /// `ENOSYS`.
    Absent,
    /// `ENOMEM`.
    Memory,
    /// Anything else.
    Other,
}
