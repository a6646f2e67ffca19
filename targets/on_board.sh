# Runs on the board: takes an archive of SIZE bytes from its input, unpacks it in a temporary folder and runs COMMAND there.
# The folder goes when this shell does, at the end or at a signal. sshd sends none when the connection is gone without a
# terminal, but the input ends then: a subshell of builtins alone waits for that, so that killing it leaves nothing behind.
# It is killed by KILL: one that has only just begun would still have the traps, and keep a TERM until its read returns.
# It is sent as one line, in single quotes, as the user's shell on the board may be none of POSIX: no comments and no
# single quotes below, and a semicolon behind each command.
umask 077;
folder=$(mktemp -d "${TMPDIR:-/tmp}/edgernn.XXXXXX") || exit 74;
child= watch=;
end() { code=$?; trap "" HUP INT TERM PIPE; kill $child 2> /dev/null; kill -KILL $watch 2> /dev/null; cd /; rm -rf "$folder"; exit "$code"; };
trap end EXIT;
trap "exit 129" HUP INT TERM PIPE;
cd "$folder" && head -c SIZE > archive || exit 74;
[ "$(wc -c < archive)" -eq SIZE ] || exit 75;
tar xf archive && rm archive || exit 74;
exec 3<&0;
(trap - EXIT HUP INT TERM PIPE; while read -r line; do :; done; kill -TERM $$) <&3 > /dev/null 2>&1 &
watch=$!;
COMMAND < /dev/null 3<&- &
child=$!;
wait "$child";
code=$?;
child=;
exit "$code"
