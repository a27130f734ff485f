/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a process tree hold a certain TCP connection? The kernel's own tables say whose a socket is,
 * whatever the process calls itself in a pid namespace of its own.
 *
 * The kernel is asked for the one connection, which takes microseconds; if it cannot be (other
 * addresses, no NETLINK_SOCK_DIAG) the whole table of connections is read, which takes
 * milliseconds. Then the descriptors of the tree. So it is for clients that nothing simpler
 * explains.
 *
 * Threading: any.
 */
#pragma once

#include "muster/ctl_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The inode of the socket on one line of /proc/net/tcp; 0: it is not a connection of these ports.
 */
uint64_t proc_owner_parse_socket(const char *line, uint16_t local_port, uint16_t remote_port);

/* The same of a socket that listens on `port`. */
uint64_t proc_owner_parse_listener(const char *line, uint16_t port);

struct proc_owner_socket {
    const char *local_host; /* numeric; likely, not certain, as is `remote_host` */
    const char *remote_host;
    uint16_t local_port;
    uint16_t remote_port;
};

/* The inode of exactly this connection, as the kernel tells; 0: there is none, or it does not tell.
 */
uint64_t proc_owner_ask_socket(const struct proc_owner_socket *wanted);

/*
 * Is it a descendant of `root` that holds the connection? `pid` (0: not
 * known) is looked at first, and is all there is to go by where the socket cannot be seen: in
 * another network namespace, or held by a process whose descriptors are not ours to read.
 */
enum ctl_owned_answer proc_owner_find(pid_t root, pid_t pid,
                                      const struct proc_owner_socket *wanted);

/*
 * Who listens on a TCP port of this machine: "pid 1234, `python3 -m http.server 29500`", of what
 * may be read of it. False if the port is nobody's, or its owner cannot be seen: another user's, or
 * in another container. Takes milliseconds: it reads the descriptors of all processes.
 */
bool proc_owner_listener(uint16_t port, char *text, size_t size);
