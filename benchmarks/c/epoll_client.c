/* An epoll client in a closed loop, the plain way: what our fleet is measured against.
 *
 *     epoll_client ADDRESS PORT CONNECTIONS MESSAGE_BYTES DURATION_MS
 *
 * Connects, then asks on every connection, and asks again whenever an answer is whole, until the time is over. It does
 * what the fleet does for each message: it compares the answer and keeps its connection, sent and done times (one clock
 * reading a message). Prints one line of JSON: answers, the nanoseconds they took, and those spent on a processor. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEPT (1 << 20) /* records of latency kept, the latest ones: the fleet writes its records to a file instead */
#define DESCRIPTORS 65536

static struct { int64_t connection, sent, done; } records[KEPT];
static int64_t sent[DESCRIPTORS];
static int got[DESCRIPTORS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t read_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: %s ADDRESS PORT CONNECTIONS MESSAGE_BYTES DURATION_MS\n", argv[0]);
        return 2;
    }
    int connections = atoi(argv[3]), size = atoi(argv[4]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) fail("inet_pton");
    char *request = malloc(size), *answer = malloc(size);
    memset(request, 'a', size);

    int epoll = epoll_create1(0);
    int *fds = calloc(connections, sizeof *fds);
    for (int i = 0; i < connections; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (fds[i] < 0 || fds[i] >= DESCRIPTORS) fail("socket");
        if (connect(fds[i], (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) < 0) fail("epoll_ctl");
    }
    int64_t begin = read_ns(CLOCK_MONOTONIC), end = begin + atoll(argv[5]) * 1000000LL, answers = 0, last = begin;
    int64_t cpu = read_ns(CLOCK_PROCESS_CPUTIME_ID);
    int waiting = 0;
    for (int i = 0; i < connections; i++) {
        sent[fds[i]] = read_ns(CLOCK_MONOTONIC);
        if (write(fds[i], request, size) != size) fail("write");
        waiting++;
    }
    struct epoll_event events[512];
    while (waiting > 0) {
        int count = epoll_wait(epoll, events, 512, 2000);
        if (count == 0) break;
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t part = read(fd, answer, size - got[fd]);
            if (part <= 0) fail("read");
            if (memcmp(answer, request + got[fd], part) != 0) fail("a wrong answer");
            got[fd] += part;
            if (got[fd] < size) continue;
            got[fd] = 0;
            last = read_ns(CLOCK_MONOTONIC);
            records[answers % KEPT].connection = fd;
            records[answers % KEPT].sent = sent[fd];
            records[answers % KEPT].done = last;
            answers++;
            if (last < end) {
                sent[fd] = last;
                if (write(fd, request, size) != size) fail("write");
            } else {
                waiting--;
            }
        }
    }
    printf("{\"answers\": %lld, \"took_ns\": %lld, \"cpu_ns\": %lld, \"unanswered\": %d}\n", (long long)answers,
           (long long)(last - begin), (long long)(read_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu), waiting);
    return 0;
}
