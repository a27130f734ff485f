/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/proc_owner.h"

#include "launcher/proc_tree.h"
#include "muster/mem.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_TREE = 16384,
    MAX_INODES = 8, /* the same two ports between several pairs of addresses */
    TCP_LISTENS = 0x0A,
};

struct search {
    uint64_t inodes[MAX_INODES];
    size_t inode_count;
    bool is_blind; /* some process's descriptors could not be read */
};

/* proc(5): number, local and remote address, state, queues, timer, retransmits, uid, timeout,
 * inode. */
enum { WORD_LOCAL = 1, WORD_REMOTE, WORD_STATE, WORD_INODE = 9, WORDS };

static unsigned long port_of(const char *address)
{
    const char *colon = strchr(address, ':');
    return colon != NULL ? strtoul(colon + 1, NULL, 16) : 0;
}

uint64_t proc_owner_parse_socket(const char *line, uint16_t local_port, uint16_t remote_port)
{
    const char *words[WORDS];
    for (size_t i = 0; i < WORDS; i++) {
        line += strspn(line, " ");
        words[i] = line;
        line += strcspn(line, " ");
    }
    bool is_it = port_of(words[WORD_LOCAL]) == local_port &&
                 port_of(words[WORD_REMOTE]) == remote_port &&
                 strtoul(words[WORD_STATE], NULL, 16) != TCP_LISTENS;
    return is_it ? strtoull(words[WORD_INODE], NULL, 10) : 0;
}

static void find_inodes(struct search *s, const char *table, uint16_t local_port,
                        uint16_t remote_port)
{
    FILE *f = fopen(table, "re");
    if (f == NULL) {
        return;
    }
    char line[512];
    while (s->inode_count < MAX_INODES && fgets(line, sizeof(line), f) != NULL) {
        uint64_t inode = proc_owner_parse_socket(line, local_port, remote_port);
        if (inode != 0) {
            s->inodes[s->inode_count++] = inode;
        }
    }
    fclose(f);
}

static bool is_wanted(const struct search *s, const char *link)
{
    static const char kind[] = "socket:[";
    if (strncmp(link, kind, sizeof(kind) - 1) != 0) {
        return false;
    }
    uint64_t inode = strtoull(link + sizeof(kind) - 1, NULL, 10);
    for (size_t i = 0; i < s->inode_count; i++) {
        if (s->inodes[i] == inode) {
            return true;
        }
    }
    return false;
}

static bool holds_socket(struct search *s, pid_t pid)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        s->is_blind = s->is_blind || errno != ENOENT;
        return false;
    }
    bool is_found = false;
    const struct dirent *e;
    while (!is_found && (e = readdir(dir)) != NULL) {
        char link[64];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
        link[n > 0 ? n : 0] = '\0';
        is_found = is_wanted(s, link);
    }
    closedir(dir);
    return is_found;
}

enum ctl_owned_answer proc_owner_find(pid_t root, pid_t pid, uint16_t local_port,
                                      uint16_t remote_port)
{
    struct search s = {0};
    find_inodes(&s, "/proc/self/net/tcp", local_port, remote_port);
    find_inodes(&s, "/proc/self/net/tcp6", local_port, remote_port);
    mu_autofree struct proc_stat *tree = mu_calloc(MAX_TREE, sizeof(*tree));
    size_t count = proc_tree_descendants(root, PROC_TREE_AUTO, tree, MAX_TREE);
    bool is_in_tree = false;
    for (size_t i = 0; i < count && !is_in_tree; i++) {
        is_in_tree = pid > 0 && tree[i].pid == pid;
    }
    if (s.inode_count > 0) {
        if (is_in_tree && holds_socket(&s, pid)) {
            return CTL_OWNED_SOCKET;
        }
        for (size_t i = 0; i < count; i++) {
            if (holds_socket(&s, tree[i].pid)) {
                return CTL_OWNED_SOCKET;
            }
        }
        if (!s.is_blind) {
            return CTL_OWNED_NO; /* it is on this machine, and not theirs */
        }
    }
    return is_in_tree ? CTL_OWNED_PID : CTL_OWNED_UNSEEN;
}
