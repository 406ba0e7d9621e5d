/* An epoll echo server in C: what our epoll server is measured against.
 *
 *     epoll_echo_server ADDRESS PORT ORDER
 *
 * Level-triggered, one thread, one read and one write for each ready connection. ORDER `in-turn` is how it is usually
 * written: read and answer one connection, then the next. `reads-first` is what our server does: all reads, then all
 * writes. Prints "ready" once it listens, and serves until it is killed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 128
#define READ_BYTES 65536

static char buffers[EVENTS][READ_BYTES];
static struct { int fd; ssize_t size; } received[EVENTS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void accept_all(int listener, int epoll) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) return;
            fail("accept4");
        }
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    }
}

int main(int argc, char **argv) {
    if (argc != 4 || (strcmp(argv[3], "in-turn") != 0 && strcmp(argv[3], "reads-first") != 0)) {
        fprintf(stderr, "usage: %s ADDRESS PORT in-turn|reads-first\n", argv[0]);
        return 2;
    }
    int in_turn = strcmp(argv[3], "in-turn") == 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &at.sin_addr) != 1) fail("inet_pton");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0) fail("bind");
    if (listen(listener, 4096) < 0) fail("listen");
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll_ctl");
    puts("ready");
    fflush(stdout);

    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1), readers = 0;
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener, epoll);
                continue;
            }
            ssize_t size = read(fd, buffers[readers], READ_BYTES);
            if (size < 0 && errno == EAGAIN) continue;
            if (size <= 0) {
                close(fd);
                continue;
            }
            if (in_turn) {
                if (write(fd, buffers[readers], size) != size) close(fd);
                continue;
            }
            received[readers].fd = fd;
            received[readers++].size = size;
        }
        for (int i = 0; i < readers; i++) {
            int fd = received[i].fd;
            if (write(fd, buffers[i], received[i].size) != received[i].size) close(fd);
        }
    }
}
