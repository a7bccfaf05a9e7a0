//! What the expansions do, against a facade small enough to see through.

use std::io;

/// Stands for the `coronet` crate: runs a future that never waits for anything.
mod facade {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
        }
    }

    pub(crate) mod __private {
        use std::cell::Cell;

        thread_local! {
            pub(crate) static ASKED: Cell<Option<CoreCount>> = const { Cell::new(None) };
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum CoreCount {
            All,
            Exactly(usize),
        }

        pub(crate) fn main_on_cores<M, F>(count: CoreCount, main: M) -> F::Output
        where
            M: FnOnce() -> F,
            F: Future,
        {
            ASKED.set(Some(count));
            super::run(main())
        }
    }
}

use facade::__private::{ASKED, CoreCount};

fn even(number: u32) -> io::Result<u32> {
    if number.is_multiple_of(2) { Ok(number) } else { Err(io::Error::other("odd")) }
}

/// The trap: in an `async` block the type of `Err(text.into())` cannot be inferred;
/// in the `async fn` that the expansion keeps, it can.
#[coronet_macros::main(crate = "crate::facade")]
async fn half_of_nine() -> Result<u32, Box<dyn std::error::Error>> {
    let number = async { 9 }.await;
    if number % 2 == 1 {
        return Err(format!("{number} is odd").into());
    }
    Ok(even(number)? / 2)
}

#[coronet_macros::main(cores = "all", crate = "crate::facade")]
async fn on_all_cores() -> &'static str {
    "all"
}

#[coronet_macros::main(cores = 3, crate = "crate::facade")]
async fn on_three_cores() {}

#[test]
fn the_output_of_main_is_the_output_of_the_program() {
    assert_eq!(half_of_nine().unwrap_err().to_string(), "9 is odd");
}

#[test]
fn the_number_of_cores_reaches_the_facade() {
    assert_eq!(ASKED.get(), None);
    assert_eq!(on_all_cores(), "all");
    assert_eq!(ASKED.get(), Some(CoreCount::All));
    on_three_cores();
    assert_eq!(ASKED.get(), Some(CoreCount::Exactly(3)));
}

#[coronet_macros::test(crate = "crate::facade")]
async fn an_async_test_runs() {
    assert_eq!(async { 1 + 1 }.await, 2);
}

#[coronet_macros::test(crate = "crate::facade")]
async fn an_async_test_may_return_a_result() -> io::Result<()> {
    assert_eq!(even(4)?, 4);
    Ok(())
}

#[coronet_macros::test(crate = "crate::facade")]
#[should_panic(expected = "on purpose")]
async fn an_async_test_keeps_its_other_attributes() {
    panic!("on purpose");
}
