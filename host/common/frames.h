/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADAPTER_FRAMES_H
#define ADAPTER_FRAMES_H
/* What a command has opened in its reply and not yet closed, for the writers of commands.c. */

enum adapter_frame_kind { ADAPTER_TOP, ADAPTER_NODE, ADAPTER_LIST };

struct adapter_frame {
	enum adapter_frame_kind kind;
	void *handle; /* the host's */
};

struct adapter_frames {
	int failed; /* part of the reply did not fit: the rest is not tried */
	unsigned depth;
	struct adapter_frame stack[16];
};

static inline struct adapter_frame *adapter_frames_top(struct adapter_frames *f)
{
	return &f->stack[f->depth - 1];
}

/* Every open has its frame, also those that failed: closes stay paired. */
static inline void adapter_frames_push(struct adapter_frames *f, enum adapter_frame_kind kind,
				       void *handle)
{
	if (f->depth == sizeof(f->stack) / sizeof(f->stack[0])) {
		f->failed = 1;
		return;
	}
	f->stack[f->depth++] = (struct adapter_frame){ kind, handle };
}

/* The reply itself stays open. */
static inline void adapter_frames_pop(struct adapter_frames *f)
{
	if (f->depth > 1)
		f->depth--;
}

#endif
