/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

/* What a job needs at most is a few paths; the default of 8 MiB would only be address space. */
#define STACK_SIZE ((size_t)256 * 1024)

struct queue {
	struct job *first, **last;
};

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t wake; /* a job was queued, or the end has come */
	pthread_cond_t idle; /* a thread ended */
	struct queue todo, finished;
	uint64_t running[WORKERS_MAX]; /* owners, n_running of them */
	unsigned n_todo, n_running, n_threads, n_waiting;
	bool stop;
	int event_fd;
	sd_event_source *source;
};

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static void queue_push(struct queue *q, struct job *job)
{
	job->next = NULL;
	*q->last = job;
	q->last = &job->next;
}

static struct job *queue_pop(struct queue *q)
{
	struct job *job = q->first;

	if (job) {
		q->first = job->next;
		if (!q->first)
			q->last = &q->first;
	}
	return job;
}

static unsigned owner_running(const struct workers *w, uint64_t owner)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->n_running; i++)
		n += w->running[i] == owner;
	return n;
}

/* May a job of this owner run now? */
static bool has_turn(const struct workers *w, uint64_t owner)
{
	if (owner_running(w, owner) >= WORKERS_OWNER_MAX)
		return false;
	return owner == 0 || w->n_running - owner_running(w, 0) < WORKERS_MAX - 1;
}

/* The first job whose owner does not have its share of threads already. */
static struct job *job_take(struct workers *w)
{
	for (struct job **at = &w->todo.first; *at; at = &(*at)->next) {
		struct job *job = *at;

		if (!has_turn(w, job->owner))
			continue;
		*at = job->next;
		if (w->todo.last == &job->next)
			w->todo.last = at;
		w->n_todo--;
		w->running[w->n_running++] = job->owner;
		return job;
	}
	return NULL;
}

static void job_end(struct workers *w, struct job *job)
{
	unsigned i = 0;

	while (w->running[i] != job->owner)
		i++;
	w->running[i] = w->running[--w->n_running];
	queue_push(&w->finished, job);
}

static void tell_loop(struct workers *w)
{
	uint64_t one = 1;

	/* It can only fail when the counter is full, and then the loop is told already. */
	if (write(w->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void *worker_main(void *userdata)
{
	struct workers *w = userdata;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		struct job *job = job_take(w);

		if (!job) {
			w->n_waiting++;
			pthread_cond_wait(&w->wake, &w->lock);
			w->n_waiting--;
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		job->run(job);
		pthread_mutex_lock(&w->lock);
		job_end(w, job);
		tell_loop(w);
	}
	w->n_threads--;
	pthread_cond_signal(&w->idle);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int on_finished(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct workers *w = userdata;
	uint64_t count;
	struct job *job;
	bool more;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	/* One a turn: ending a job can take a while, and others' messages wait. */
	pthread_mutex_lock(&w->lock);
	job = queue_pop(&w->finished);
	more = w->finished.first;
	pthread_mutex_unlock(&w->lock);
	if (more)
		tell_loop(w);
	if (job)
		job->done(job);
	return 0;
}

int workers_new(sd_event *event, struct workers **ret)
{
	struct workers *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	pthread_cond_init(&w->idle, NULL);
	queue_init(&w->todo);
	queue_init(&w->finished);
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = w->event_fd < 0
		    ? -errno
		    : sd_event_add_io(event, &w->source, w->event_fd, EPOLLIN, on_finished, w);
	if (r < 0) {
		workers_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

static int thread_start(struct workers *w)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	if (r == 0)
		w->n_threads++;
	return -r;
}

static int quota_check(const struct workers *w, uint64_t owner)
{
	unsigned max = WORKERS_QUEUE_MAX - (owner == 0 ? 0 : WORKERS_QUEUE_KEPT), n = 0;

	for (const struct job *job = w->todo.first; job; job = job->next)
		n += job->owner == owner;
	return n >= WORKERS_OWNER_QUEUE_MAX || w->n_todo >= max ? -EDQUOT : 0;
}

int workers_submit(struct workers *w, struct job *job)
{
	int r;

	pthread_mutex_lock(&w->lock);
	r = quota_check(w, job->owner);
	if (r >= 0 && w->n_waiting == 0 && w->n_threads < WORKERS_MAX)
		r = thread_start(w);
	/* One thread less than wished for is no failure as long as there is one. */
	if (r != -EDQUOT && w->n_threads > 0) {
		queue_push(&w->todo, job);
		w->n_todo++;
		pthread_cond_signal(&w->wake);
		r = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

int workers_stop(struct workers *w, uint64_t usec)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(usec / 1000000);
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->wake);
	while (w->n_threads > 0 && r == 0)
		r = pthread_cond_timedwait(&w->idle, &w->lock, &until);
	pthread_mutex_unlock(&w->lock);
	return -r;
}

static struct job *any_pop(struct workers *w)
{
	struct job *job;

	pthread_mutex_lock(&w->lock);
	job = queue_pop(&w->finished);
	if (!job)
		job = queue_pop(&w->todo);
	pthread_mutex_unlock(&w->lock);
	return job;
}

void workers_finish(struct workers *w)
{
	struct job *job;

	while ((job = any_pop(w)))
		job->done(job);
}

struct workers *workers_free(struct workers *w)
{
	if (!w)
		return NULL;
	sd_event_source_unref(w->source);
	close_fd(&w->event_fd);
	/* A thread that still waits in the kernel keeps the rest alive until the process ends. */
	if (w->n_threads == 0) {
		pthread_cond_destroy(&w->wake);
		pthread_cond_destroy(&w->idle);
		pthread_mutex_destroy(&w->lock);
		free(w);
	}
	return NULL;
}
