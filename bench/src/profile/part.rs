//! What a processor was doing for an exchange, by the kernel's functions that were waiting at a sample.
//!
//! A stack belongs to the first part of [`Part::ALL`] that any of its functions is of. On loopback the kernel delivers a packet
//! on the core that sends it, within the system call that sends: such a stack is in delivery, not in sending.

use super::Stack;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Own,
    Acknowledging,
    Opening,
    Delivering,
    Timers,
    Sending,
    Receiving,
    Waiting,
    Rest,
}

impl Part {
    /// All, in the order in which a stack is asked for them.
    pub(crate) const ALL: [Part; 9] = [
        Part::Own,
        Part::Acknowledging,
        Part::Opening,
        Part::Delivering,
        Part::Timers,
        Part::Sending,
        Part::Receiving,
        Part::Waiting,
        Part::Rest,
    ];

    /// Where a stack belongs.
    pub(crate) fn of(stack: &Stack) -> Part {
        Part::ALL.into_iter().find(|part| part.holds(stack)).unwrap_or(Part::Rest)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Part::Own => "the program's own code",
            Part::Acknowledging => "kernel: acknowledgements without data",
            Part::Opening => "kernel: opening and closing connections",
            Part::Delivering => "kernel: delivering what was sent to the other side's socket",
            Part::Timers => "kernel: timers",
            Part::Sending => "kernel: sending, up to delivery",
            Part::Receiving => "kernel: receiving",
            Part::Waiting => "kernel: going to sleep and waking",
            Part::Rest => "kernel: the ring, system calls, all else",
        }
    }

    fn holds(self, stack: &Stack) -> bool {
        match self {
            Part::Own => stack.is_own(),
            Part::Rest => true,
            _ => stack.is_in_any(self.functions()),
        }
    }

    /// The kernel's functions that everything of a part runs below (6.x).
    fn functions(self) -> &'static [&'static str] {
        match self {
            Part::Own | Part::Rest => &[],
            Part::Acknowledging => &["__tcp_send_ack", "tcp_send_ack"],
            Part::Opening => &[
                "io_accept",
                "io_connect",
                "io_close",
                "io_socket",
                "io_shutdown",
                "__fput",
                "__sys_connect",
                "__sys_setsockopt",
                "tcp_rcv_state_process",
                "tcp_conn_request",
            ],
            Part::Delivering => &["net_rx_action"],
            Part::Timers => &["run_timer_softirq", "hrtimer_interrupt", "hrtimer_run_softirq"],
            Part::Sending => &["io_send", "io_sendmsg", "__sys_sendto", "__sys_sendmsg", "tcp_sendmsg"],
            Part::Receiving => &["io_recv", "io_recvmsg", "__sys_recvfrom", "__sys_recvmsg", "tcp_recvmsg"],
            Part::Waiting => &["schedule", "io_cqring_wait", "do_epoll_wait"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stack::parse;
    use super::*;

    #[test]
    fn a_stack_belongs_to_the_first_part_that_it_runs_below() {
        let rows: &[(&[&str], Part)] = &[
            (&["memcpy", "tcp_sendmsg", "io_send", "io_submit_sqes"], Part::Sending),
            (&["tcp_ack", "tcp_v4_rcv", "net_rx_action", "tcp_sendmsg", "io_send"], Part::Delivering),
            (&["kfree", "net_rx_action", "__tcp_send_ack", "tcp_recvmsg", "io_recv"], Part::Acknowledging),
            (
                &["tcp_v4_syn_recv_sock", "tcp_rcv_state_process", "net_rx_action", "io_connect"],
                Part::Opening,
            ),
            (&["copy_to_iter", "tcp_recvmsg", "io_recv", "io_cqring_wait"], Part::Receiving),
            (&["pick_next_task", "schedule", "io_cqring_wait"], Part::Waiting),
            (&["call_timer_fn", "run_timer_softirq"], Part::Timers),
            (&["io_issue_sqe", "io_submit_sqes"], Part::Rest),
        ];
        for (functions, part) in rows {
            let text: String =
                functions.iter().map(|name| format!("ffffffff81000000 {name} (k)\n")).collect();
            let stacks = parse(&text);
            assert_eq!(Part::of(&stacks[0]), *part, "{functions:?}");
        }
        assert_eq!(
            Part::of(&parse("5500 run (/bin/pinion)\nffffffff81000000 tcp_sendmsg (k)\n")[0]),
            Part::Own
        );
    }
}
