# SPDX-License-Identifier: LGPL-2.1-or-later
# The text of a file as a string of C.
s/[\\"]/\\&/g
s/.*/"&\\n"/
