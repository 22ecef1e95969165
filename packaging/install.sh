#!/bin/sh
# Installs what lies beside this script:  [PREFIX=/usr/local] [DESTDIR=] sh install.sh
# An existing configuration is kept. With DESTDIR files are only put there; without it this machine gets user, group
# and folders too. Nothing is started.
set -eu
umask 022
cd "$(dirname "$0")"
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}

put() {
    mkdir -p "$(dirname "$DESTDIR$3")"
    install -m "$1" "$2" "$DESTDIR$3"
}

[ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || {
    echo "error: only root can install here; use sudo, or DESTDIR=FOLDER to put the files elsewhere" >&2
    exit 1
}

put 755 jobtrackd "$PREFIX/bin/jobtrackd"
put 644 jobtrackd.1 "$PREFIX/share/man/man1/jobtrackd.1"
put 644 completions/jobtrackd.bash "$PREFIX/share/bash-completion/completions/jobtrackd"
put 644 completions/_jobtrackd "$PREFIX/share/zsh/site-functions/_jobtrackd"
put 644 completions/jobtrackd.fish "$PREFIX/share/fish/vendor_completions.d/jobtrackd.fish"
for file in README.md CHANGELOG.md LICENSE; do
    put 644 "$file" "$PREFIX/share/doc/jobtrackd/$file"
done
for file in docs/*.md docs/pictures/*.svg docs/pictures/*.png schemas/*; do
    put 644 "$file" "$PREFIX/share/doc/jobtrackd/$file"
done
for unit in jobtrackd.service jobtrackd@.service; do
    put 644 "systemd/$unit" "/etc/systemd/system/$unit"
    sed -e "s|/usr/bin/jobtrackd|$PREFIX/bin/jobtrackd|" -e "s|/usr/share/doc/|$PREFIX/share/doc/|" \
        "systemd/$unit" > "$DESTDIR/etc/systemd/system/$unit"
done
put 644 systemd/sysusers.d/jobtrackd.conf /etc/sysusers.d/jobtrackd.conf
put 644 systemd/tmpfiles.d/jobtrackd.conf /etc/tmpfiles.d/jobtrackd.conf
fresh=
if [ ! -e "$DESTDIR/etc/jobtrackd/jobtrackd.toml" ]; then
    fresh=yes
    put 640 jobtrackd.toml /etc/jobtrackd/jobtrackd.toml
fi
[ -z "$DESTDIR" ] || exit 0

systemd-sysusers jobtrackd.conf
systemd-tmpfiles --create jobtrackd.conf
[ -z "$fresh" ] || chgrp -h jobtrackd-queue /etc/jobtrackd/jobtrackd.toml
[ -e /etc/jobtrackd/api_key ] || install -m 600 -o root -g root /dev/null /etc/jobtrackd/api_key
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ -n "$fresh" ]; then
    echo "Write the API key into /etc/jobtrackd/api_key and your webhooks into /etc/jobtrackd/jobtrackd.toml, then:"
    echo "  systemctl enable --now jobtrackd"
else
    echo "What runs is the old program until:  systemctl restart jobtrackd"
fi
