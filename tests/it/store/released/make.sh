#!/bin/sh
# Makes the database that the test `store::released` opens for a migration that is about to be released:
#
#     cargo build && sh tests/it/store/released/make.sh tests/it/store/released/0002.db
#
# It is what the real program wrote: jobs in every state, deliveries in every state, a disabled webhook, a paused API.
# A file that is there is released, and stays as it is.
set -eu
file=$(realpath -m "$1")
program=$(realpath "${CARGO_TARGET_DIR:-target}/debug/jobtrackd")
port=${PORT:-39090}
api=http://127.0.0.1:$port
folder=$(mktemp -d)
cd "$folder"
trap 'kill $simulator $daemon 2>/dev/null || true; rm -r "$folder"' EXIT
simulator= daemon=

webhook() {
    printf '[webhooks.%s]\nurl = "%s/%s"\nsecret = "whsec_%s"\nallow_private = true\nretry = %s\n' "$1" "$api" "$1" \
        "$(head -c 32 /dev/urandom | base64)" "$2"
}
{
    printf '[database]\nurl = "sqlite:jobs.db"\n[status]\nlisten = ""\n'
    printf '[upstream]\nbase_url = "%s"\napi_key = "any-key"\n[polling]\ninitial_delay = "50ms"\nmax_delay = "200ms"\nqueued_delay = "200ms"\n' "$api"
    webhook told '[]'
    echo 'events = ["*"]'
    webhook refusing '["20ms"]'
    echo 'events = ["job.failed"]'
    webhook waiting '["30d"]'
    webhook gone '[]'
} > jobtrackd.toml
chmod 600 jobtrackd.toml
jobtrackd() { "$program" --config jobtrackd.toml "$@"; }
post() { curl -sSf -o /dev/null --retry 20 --retry-connrefused --retry-delay 1 "$api/_control/$1" -d "$2"; }
value() { sqlite3 -cmd '.timeout 5000' jobs.db "$1"; }
until_none() { while [ "$(value "SELECT count(*) FROM $1")" != 0 ]; do sleep 0.1; done; }

"$program" simulate --listen "127.0.0.1:$port" --speed 20 > /dev/null & simulator=$!
post faults '{"path":"/told","fault":{"status":{"status":204}}}'
post faults '{"path":"/refusing","fault":{"status":{"status":500}}}'
post faults '{"path":"/waiting","fault":{"status":{"status":503}}}'
post faults '{"path":"/gone","fault":{"status":{"status":410}}}'
for scenario in success failed step-vanishes mfa-token queued-success never-ends; do
    post jobs "{\"id\":\"$scenario\",\"scenario\":\"$scenario\"}"
done

jobtrackd migrate
jobtrackd enqueue success --metadata '{"customer":"c_9"}' --priority 3
jobtrackd enqueue failed step-vanishes mfa-token queued-success never-ends
jobtrackd enqueue later --not-before 2126-01-01T00:00:00Z --deadline 2127-01-01T00:00:00Z --url /jobs/later --webhook told
"$program" --config jobtrackd.toml run 2> log & daemon=$!
until_none "jobs WHERE id IN ('success', 'failed', 'step-vanishes') AND finished_at IS NULL"
until_none "jobs WHERE id = 'queued-success' AND NOT queued"
until_none "jobs WHERE id = 'mfa-token' AND id NOT IN (SELECT job_id FROM events WHERE type = 'job.action_required')"
jobtrackd cancel mfa-token
until_none "jobs WHERE id = 'mfa-token' AND state <> 'failed'"
until_none "deliveries WHERE webhook <> 'waiting' AND state = 'pending'"
post faults '{"path":"/jobs","times":4,"fault":{"status":{"status":429,"retry_after":{"seconds":86400}}}}'
until_none "(SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM upstreams))"
kill $daemon
wait $daemon
daemon=
jobtrackd enqueue unseen
jobtrackd backup "$file"
