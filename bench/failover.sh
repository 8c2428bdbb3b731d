#!/bin/sh
# The floor: what a practised person would script for this one city, on connections that are open already.
# Fence (power, network), promote, start the application, move both names. No proof, no comparison, no journal.
#
#   bench/failover.sh STATE MUX     STATE: the environment's state folder; MUX: folder with ssh config and control sockets
set -eu
state=$1 mux=$2
zone=city.lab new=${NEW:-10.77.2}

on() { # host, command
    ssh -F "$mux/config" "$1" "$2"
}

/usr/bin/python3 -I -S "$(dirname "$0")/power.py" "$state" "${LAB:-lab}" pg-a
on "$new.30" "sudo -n systemctl start payments.service" &
start=$!
on "$new.20" "sudo -n -u postgres psql --cluster 15/main -XqAtc 'SELECT pg_promote(true, 60)'" >/dev/null
on "$new.10" "sudo -n nsupdate -k /etc/bind/update.key" <<END
server 127.0.0.1
zone $zone
update delete pay-db.$zone. A
update add pay-db.$zone. 5 A $new.20
update delete pay.$zone. A
update add pay.$zone. 5 A $new.30
send
END
wait "$start"
