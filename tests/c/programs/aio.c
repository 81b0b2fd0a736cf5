/* SPDX-License-Identifier: MIT
 *
 * aio FOLDER WRITER GO: reads by aio(7) in each form, of FOLDER's lines and later (a fifo), and of a local file beside them.  WRITER opens the
 * fifo at once and writes 7 bytes once GO has been run.
 */
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 100, SIZE = 3000 };

static volatile sig_atomic_t signals, value, code;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static int calls, blocked;
static char room[MANY][SIZE];

static void on_signal(int number, siginfo_t *info, void *context)
{
	value = info->si_value.sival_int;
	code = info->si_code;
	signals++;
}

static void on_call(union sigval given)
{
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	pthread_mutex_lock(&lock);
	blocked = sigismember(&mask, SIGINT);
	calls += given.sival_int;
	pthread_cond_signal(&called);
	pthread_mutex_unlock(&lock);
}

static void wait_for_calls(int count)
{
	pthread_mutex_lock(&lock);
	while (calls < count)
		pthread_cond_wait(&called, &lock);
	printf("called %d, blocked %d\n", calls, blocked);
	calls = 0;
	pthread_mutex_unlock(&lock);
}

static int sum(const char *bytes, ssize_t count)
{
	unsigned total = 0;

	for (ssize_t i = 0; i < count; i++)
		total = total * 31 + (unsigned char)bytes[i];
	return (int)(total & 0xffffff);
}

static struct aiocb block(int fd, char *to, size_t size, off_t offset)
{
	return (struct aiocb){ .aio_fildes = fd, .aio_buf = to, .aio_nbytes = size, .aio_offset = offset,
			       .aio_sigevent.sigev_notify = SIGEV_NONE };
}

static int begun(int result)
{
	return result < 0 ? errno : 0;
}

static void ended(const char *what, struct aiocb *cb)
{
	const struct aiocb *list[] = { NULL, cb };
	int error;
	ssize_t got;

	while ((error = aio_error(cb)) == EINPROGRESS)
		aio_suspend(list, 2, NULL);
	got = aio_return(cb);
	printf("%s: %s, %zd bytes, %x\n", what, strerror(error), got, sum((char *)cb->aio_buf, got > 0 ? got : 0));
}

static void one(const char *what, int fd, off_t offset, size_t size)
{
	struct aiocb cb = block(fd, room[0], size, offset);
	int bad = begun(aio_read(&cb));

	if (bad)
		printf("%s: not begun: %s\n", what, strerror(bad));
	else
		ended(what, &cb);
}

/* Done, or refused: that depends on who was quicker. */
static void closed_at_once(int fd)
{
	int other = dup(fd), bad, waited;
	struct aiocb cb = block(other, room[0], SIZE, 0);
	const struct aiocb *list[] = { &cb };

	bad = begun(aio_read(&cb));
	close(other);
	waited = aio_suspend(list, 1, NULL);
	printf("closed: %d %d, in progress %d\n", bad, waited, aio_error(&cb) == EINPROGRESS);
}

static void notified(int fd)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	struct aiocb cb = block(fd, room[0], SIZE, 17);

	sigaction(SIGRTMIN, &action, NULL);
	cb.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
	cb.aio_sigevent.sigev_signo = SIGRTMIN;
	cb.aio_sigevent.sigev_value.sival_int = 99;
	aio_read(&cb);
	while (!signals)
		usleep(1000);
	printf("signal: %d, value %d, code %d, error %d\n", signals, value, code, aio_error(&cb));
	cb.aio_sigevent.sigev_notify = SIGEV_THREAD;
	cb.aio_sigevent.sigev_notify_function = on_call;
	cb.aio_sigevent.sigev_notify_attributes = NULL;
	cb.aio_sigevent.sigev_value.sival_int = 1;
	aio_read(&cb);
	wait_for_calls(1);
	ended("after the call", &cb);
}

static void listed(int mode, int fd, int local, struct sigevent *event)
{
	static struct aiocb blocks[MANY];
	struct aiocb *list[MANY + 2] = { NULL };
	const struct aiocb *const *waiting = (const struct aiocb *const *)list;

	for (int i = 0; i < MANY; i++) {
		memset(room[i], 0, SIZE);
		blocks[i] = block(i % 5 == 3 ? local : fd, room[i], SIZE, 4000 * i);
		blocks[i].aio_lio_opcode = i % 7 == 6 ? LIO_NOP : LIO_READ;
		list[i] = &blocks[i];
	}
	printf("lio_listio: %d\n", begun(lio_listio(mode, list, MANY + 2, event)));
	if (event && event->sigev_notify == SIGEV_THREAD)
		wait_for_calls(10);
	for (int i = 0; i < MANY; i++) {
		while (mode == LIO_NOWAIT && i % 7 != 6 && aio_error(&blocks[i]) == EINPROGRESS)
			aio_suspend(waiting + i, 1, NULL);
		if (i % 7 != 6)
			printf("%d: %d %zd %x\n", i, aio_error(&blocks[i]), aio_return(&blocks[i]), sum(room[i], SIZE));
	}
}

/* Two reads of a fifo that has nothing yet: in progress until it has, then in their order. */
static void waiting(const char *path, const char *writer, const char *go)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	struct aiocb first = block(fd, room[0], 4, 0), second = block(fd, room[1], 4, 0), third = block(fd, room[2], 4, 0);
	const struct aiocb *both[] = { &second, &first };
	struct timespec soon = { 0, 50000000 };

	if (system(writer))
		printf("no writer\n");
	while (read(fd, room[0], 1) == 0)	/* it isn't there yet */
		usleep(1000);
	fcntl(fd, F_SETFL, 0);
	printf("begun %d\n", begun(aio_read(&first)));
	printf("begun %d\n", begun(aio_read(&second)));
	printf("begun %d\n", begun(aio_read(&third)));
	printf("suspend: %d\n", begun(aio_suspend(both, 2, &soon)));
	printf("in progress: %d %d\n", aio_error(&first) == EINPROGRESS, aio_error(&second) == EINPROGRESS);
	printf("cancel: %d\n", aio_cancel(fd, &third));
	printf("cancelled: %d %zd\n", aio_error(&third), aio_return(&third));
	printf("running: %d\n", aio_cancel(fd, &first) == AIO_NOTCANCELED);
	printf("of another: %d\n", begun(aio_cancel(0, &first)));
	if (system(go))
		printf("no go\n");
	ended("first", &first);
	ended("second", &second);
	printf("over: %d\n", aio_cancel(fd, NULL));
	close(fd);
}

int main(int count, char **arguments)
{
	int fd, local;
	struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_call };
	struct aiocb cb;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count < 4 || chdir(arguments[1]))
		return 2;
	local = open("/proc/self/exe", O_RDONLY);
	fd = open("lines", O_RDONLY);
	one("start", fd, 0, SIZE);
	one("middle", fd, 123456, SIZE);
	one("end", fd, 588895 - 20, SIZE);
	one("past the end", fd, 1 << 30, SIZE);
	one("nothing", fd, 0, 0);
	one("negative", fd, -1, SIZE);
	one("closed", 999, 0, SIZE);
	printf("position %ld\n", (long)lseek(fd, 0, SEEK_CUR));
	cb = block(fd, room[0], SIZE, 0);
	cb.aio_reqprio = -1;
	printf("priority: %d\n", begun(aio_read(&cb)));
	cb.aio_reqprio = 0;
	printf("aio_write: %d\n", begun(aio_write(&cb)));
	ended("aio_write", &cb);
	printf("aio_fsync: %d\n", begun(aio_fsync(O_SYNC, &cb)));
	ended("aio_fsync", &cb);
	printf("aio_fsync: %d\n", begun(aio_fsync(12345678, &cb)));
	printf("aio_cancel: %d %d\n", aio_cancel(fd, &cb), aio_cancel(fd, NULL));
	one("directory", open(".", O_RDONLY), 0, SIZE);
	for (int i = 0; i < 20; i++)
		closed_at_once(fd);
	notified(fd);
	listed(LIO_WAIT, fd, local, NULL);
	listed(LIO_NOWAIT, fd, local, NULL);
	event.sigev_value.sival_int = 10;
	listed(LIO_NOWAIT, fd, local, &event);
	listed(7, fd, local, NULL);
	waiting("later", arguments[2], arguments[3]);
	return 0;
}
