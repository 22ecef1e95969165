//! What operators do to webhooks, deliveries and jobs, whoever carries it out: a command, or the dashboard. Both refuse the
//! same in the same words.
