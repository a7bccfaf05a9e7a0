//! Whether an upstream is up, from what its checks said: a pure count of failures and successes.
//!
//! Who checks, and when, is in `upkeep.rs`.

/// The standing of one upstream. It starts up: who was never asked is not ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    is_up: bool,
    /// Checks in a row that said the opposite.
    against: u16,
}

/// How many checks in a row change the standing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) fails: u16,
    pub(crate) passes: u16,
}

impl Health {
    pub(crate) const fn new() -> Self {
        Self { is_up: true, against: 0 }
    }

    pub(crate) fn is_up(self) -> bool {
        self.is_up
    }

    /// The standing after one more check.
    #[must_use]
    pub(crate) fn after(self, passed: bool, rule: Rule) -> Self {
        if passed == self.is_up {
            return Self { against: 0, ..self };
        }
        let against = self.against.saturating_add(1);
        let needed = if self.is_up { rule.fails } else { rule.passes };
        if against >= needed { Self { is_up: !self.is_up, against: 0 } } else { Self { against, ..self } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(checks: &str, rule: Rule) -> String {
        let mut health = Health::new();
        checks
            .chars()
            .map(|check| {
                health = health.after(check == '+', rule);
                if health.is_up() { 'U' } else { 'd' }
            })
            .collect()
    }

    #[test]
    fn only_checks_in_a_row_change_the_standing() {
        let rule = Rule { fails: 3, passes: 2 };
        assert_eq!(standings("--+--+---", rule), "UUUUUUUUd");
        assert_eq!(standings("----+-++--", rule), "UUdddddUUU");
    }

    #[test]
    fn one_check_is_enough_where_the_rule_says_so() {
        assert_eq!(standings("-+-+", Rule { fails: 1, passes: 1 }), "dUdU");
    }
}
