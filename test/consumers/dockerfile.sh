#!/bin/sh
# Usage: dockerfile.sh DOCKERFILE CONTEXT NAME FOLDER
#
# Does by hand, in FOLDER, what a Dockerfile does to the project in CONTEXT, whose name stands for my_app: copies what
# it copies and runs what it runs of rebar3; then the program of the last image has to be there. What the images bring,
# and what is installed in them, is not looked at.
set -eu
dockerfile=$1 context=$2 name=$3 app=$4
mkdir "$app"
sed "s/my_app/$name/g" "$dockerfile" >"$app.steps"
while read -r instruction first rest; do
    case "$instruction $first" in
        "COPY --from=build") image=${rest#* } built=$app/${rest#/app/} ;;
        COPY\ *) for file in $first ${rest% *}; do [ "$file" = ./ ] || cp -R "$context/$file" "$app"; done ;;
        "RUN rebar3") (cd "$app" && eval "rebar3 $rest") ;;
        CMD\ *)
            program=$(expr "$first" : '\["\(.*\)",')
            [ -x "${built% *}${program#"$image"}" ] || { echo "no $program by $dockerfile" >&2; exit 1; } ;;
    esac
done <"$app.steps"
