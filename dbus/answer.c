/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "answer.h"

#include <stdarg.h>
#include <string.h>

#include "driver.h"

int answer_send(sd_bus_message *call, sd_bus_message *answer)
{
	const char *destination = sd_bus_message_get_destination(call);
	int r = 0;

	if (destination)
		r = sd_bus_message_set_sender(answer, strcmp(destination, DRIVER_NAME) == 0
							      ? DRIVER_NAME
							      : DRIVER_SERVICE_UNIQUE);
	return r < 0 ? r : sd_bus_send(NULL, answer, NULL);
}

int answer_values(sd_bus_message *call, const char *types, ...)
{
	sd_bus_message *answer = NULL;
	va_list values;
	int r;

	if (!sd_bus_message_get_expect_reply(call))
		return 0;
	r = sd_bus_message_new_method_return(call, &answer);
	if (r >= 0 && types[0]) {
		va_start(values, types);
		r = sd_bus_message_appendv(answer, types, values);
		va_end(values);
	}
	if (r >= 0)
		r = answer_send(call, answer);
	sd_bus_message_unref(answer);
	return r;
}

int answer_error(sd_bus_message *call, const char *name, const char *text)
{
	sd_bus_message *answer = NULL;
	int r;

	if (!sd_bus_message_get_expect_reply(call))
		return 0;
	r = sd_bus_message_new_method_errorf(call, &answer, name, "%s", text);
	if (r >= 0)
		r = answer_send(call, answer);
	sd_bus_message_unref(answer);
	return r;
}
