package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

const (
	// maxPages bounds how often a registry says that a list goes on.
	maxPages = 100
	// maxList bounds one page, in bytes.
	maxList = 4 << 20
)

// List returns the tags of a repository, or the repositories of a registry if the reference has none.
// Not every registry tells the latter.
func (c *Client) List(ctx context.Context, r Reference) ([]string, error) {
	list, err := c.list(ctx, r)
	if err != nil {
		return nil, named(err, "list", Reference{Registry: r.Registry, Repository: r.Repository})
	}
	return list, nil
}

func (c *Client) list(ctx context.Context, r Reference) (all []string, err error) {
	s, err := c.open(ctx, r, pull)
	if err != nil {
		return nil, err
	}
	next := s.url("tags/list")
	if s.path == "" {
		next = s.url("_catalog")
	}
	next.RawQuery = "n=1000"
	for range maxPages {
		var page struct {
			Tags         []string `json:"tags"`
			Repositories []string `json:"repositories"`
		}
		var data []byte
		if data, next, err = s.page(ctx, next); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return nil, because(Invalid, "its list is no JSON that we understand: %w", err)
		}
		for _, name := range append(page.Tags, page.Repositories...) {
			if isText(name, maxReference) {
				all = append(all, name)
			}
		}
		if next == nil {
			return all, nil
		}
	}
	return nil, because(Invalid, "its list has more than %d pages", maxPages)
}

// page gets one page of a list, and the address of the next one, which is at the same registry.
func (s *site) page(ctx context.Context, u *url.URL) (data []byte, next *url.URL, err error) {
	data, header, err := s.get(ctx, u, maxList)
	if err != nil {
		return nil, nil, err
	}
	link, rest, _ := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
	if link == "" || !strings.Contains(rest, "next") {
		return data, nil, nil
	}
	next, err = u.Parse(link)
	if err != nil || next.Host != u.Host {
		return nil, nil, because(Invalid, "its list goes on at another host")
	}
	return data, next, nil
}

// Remove removes an image from its repository, with all tags that it has; or only a tag, if the
// registry can do that.
func (c *Client) Remove(ctx context.Context, r Reference) error {
	if err := c.remove(ctx, r); err != nil {
		return named(err, "remove", r)
	}
	return nil
}

func (c *Client) remove(ctx context.Context, r Reference) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSlow)
	defer cancel()
	s, err := c.open(ctx, r, "pull,push,delete")
	if err != nil {
		return err
	}
	data, _, err := s.document(ctx, s.url("manifests", r.identifier()), r.Digest, maxDocument, manifestTypes...)
	if err != nil {
		return err
	}
	if r.Digest != "" {
		return s.delete(ctx, r.Digest)
	}
	err = s.delete(ctx, r.Tag)
	var e *Error
	if errors.As(err, &e) && (e.Kind == Denied || e.Kind == Invalid || e.Kind == NotFound) {
		whole := Reference{Registry: r.Registry, Repository: r.Repository, Digest: digestOf(data)}
		return because(e.Kind, "the registry does not remove a tag alone (%w); to remove the image with all its tags, name %s", e.Err, whole)
	}
	return err
}

func (s *site) delete(ctx context.Context, identifier string) error {
	return s.again(ctx, func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.url("manifests", identifier).String(), nil)
		if err != nil {
			return err
		}
		return s.do(r, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	})
}
