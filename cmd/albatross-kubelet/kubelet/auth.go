package kubelet

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// askTime bounds a question to the API server about who may ask.
const askTime = 10 * time.Second

// An Authorizer lets those ask who may, as the kubelet of Kubernetes does: they show a certificate of
// the cluster, or a token that the API server vouches for, and the API server decides whether they may
// do something with this node.
type Authorizer struct {
	Client kubernetes.Interface
	Node   string
	CA     *x509.CertPool // of client certificates; nil: none is accepted
}

// Protect returns a handler that asks before it hands on.
func (a Authorizer) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askTime)
		defer cancel()
		user, known, err := a.user(ctx, r)
		if err == nil && !known {
			http.Error(w, "show a client certificate of the cluster, or a token", http.StatusUnauthorized)
			return
		}
		allowed := false
		if err == nil {
			allowed, err = a.allowed(ctx, user, r)
		}
		switch {
		case err != nil:
			http.Error(w, "cannot ask the API server who may do that: "+err.Error(), http.StatusServiceUnavailable)
		case !allowed:
			http.Error(w, fmt.Sprintf("%s may not %s nodes/%s of %s", user.Username, verb(r.Method), subresource(r.URL.Path), a.Node), http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// user returns who asks. A certificate counts before a token.
func (a Authorizer) user(ctx context.Context, r *http.Request) (user authentication.UserInfo, known bool, err error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && a.CA != nil {
		if subject, vouched := a.verified(r.TLS.PeerCertificates); vouched {
			return authentication.UserInfo{Username: subject.Subject.CommonName, Groups: append(subject.Subject.Organization, "system:authenticated")}, true, nil
		}
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" {
		return user, false, nil
	}
	review, err := a.Client.AuthenticationV1().TokenReviews().Create(ctx,
		&authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return user, false, err
	}
	return review.Status.User, review.Status.Authenticated, nil
}

func (a Authorizer) verified(chain []*x509.Certificate) (*x509.Certificate, bool) {
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: a.CA, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return chain[0], err == nil
}

// allowed asks the API server whether a user may do what a request asks for.
func (a Authorizer) allowed(ctx context.Context, user authentication.UserInfo, r *http.Request) (bool, error) {
	extra := map[string]authorization.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorization.ExtraValue(values)
	}
	review, err := a.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorization.SubjectAccessReview{
		Spec: authorization.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			ResourceAttributes: &authorization.ResourceAttributes{
				Verb: verb(r.Method), Version: "v1", Resource: "nodes", Subresource: subresource(r.URL.Path), Name: a.Node,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

// verb returns what a method is in the words of the API server.
func verb(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	}
	return "delete"
}

// subresource returns what of a node a path is about.
func subresource(path string) string {
	switch {
	case strings.HasPrefix(path, "/stats/"):
		return "stats"
	case strings.HasPrefix(path, "/metrics/"):
		return "metrics"
	}
	return "proxy"
}
